"""What training, evaluating, encoding and tuning cost here, against stock RecBole and others in the same run."""
