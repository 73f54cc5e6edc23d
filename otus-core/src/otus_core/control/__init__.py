"""How the daemon is operated: JSON-RPC 2.0 over a Unix socket, and the handler that every command channel shares."""
