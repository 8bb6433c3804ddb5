"""What an event is: model, catalogue, Avro contract, wire codec, table definitions, error tree."""
