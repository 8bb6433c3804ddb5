"""What the fixtures are made of: servers, waiting, clients."""
