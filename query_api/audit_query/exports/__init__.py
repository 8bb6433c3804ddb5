"""Everything that leaves as a file: what of the log it holds, how its bytes look, and how they are sent."""
