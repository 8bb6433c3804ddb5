"""What all processes share: settings, logging, metrics, access control."""
