"""RecBole's NeuMF (He et al., WWW 2017, arXiv 1708.05031), whose halves it can begin from.

RecBole 1.2.1's ``dump_parameters`` (neumf.py:157) pickles the model, which its ``load_pretrain`` can't read.
"""

from __future__ import annotations

from recbole.model.general_recommender.neumf import NeuMF as RecboleNeuMF

from recbole_ext.compat.checkpoints import save


class NeuMF(RecboleNeuMF):
    """NeuMF that writes the parameters of one half, trained alone, as it reads them."""

    def dump_parameters(self) -> None:
        if self.mf_train is not self.mlp_train:
            save({"state_dict": self.state_dict()}, self.mf_pretrain_path if self.mf_train else self.mlp_pretrain_path)
