"""Where the items of tasks come from that no local file holds: a bundle, or a hub at a known commit."""
