"""What datasets are: their files and configs, the keys that describe them, the protocol that splits them."""
