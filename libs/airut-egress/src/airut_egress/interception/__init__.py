"""mitmproxy's protocol layers, driven by our own accept loop and closed on every doubt."""
