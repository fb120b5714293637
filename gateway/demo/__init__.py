"""The main job played to watch: a simulated cart, a simulated EHR, a real gateway between them."""
