"""What happens to an ECG between its arrival and its acknowledged alert."""
