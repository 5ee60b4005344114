"""RECFORMER (Li et al., KDD 2023, arXiv 2305.13731): items as key–value text, a sequence of items as one text."""
