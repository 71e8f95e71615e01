"""libp2p host, catalogue gossip and sync, blob transfer."""
