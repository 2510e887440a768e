"""containerd behind the Runtime seam: pods over CRI, and containerd's own API for what CRI lacks (streams, events, blobs)."""
