"""What a model is: specification, file, importers, quantisation and references."""
