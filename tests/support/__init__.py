"""What several tests share: peers, carts, data builders."""
