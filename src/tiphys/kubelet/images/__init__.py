"""Images: their names, archives of them, and what of them lies in containerd's content store."""
