"""gSASRec: Petrov and Macdonald, "gSASRec: Reducing Overconfidence in Sequential Recommendation Trained with Negative
Sampling", RecSys 2023 (arXiv 2308.07192).

SASRec trained with generalised binary cross-entropy over 256 negatives for each target, t = 0.75; the equation stands
at :func:`recbole_ext.training.losses.gbce_loss`. The loss is a key (``training_loss: gbce``) that any model takes which
scores by a dot product with its items; the name gives SASRec these defaults, so that both can stand in one table.

Left out: the separate output embeddings that the authors' code can have. Differs: SASRec is RecBole's, and all scores
begin at the loss's prior.
"""

from __future__ import annotations

from recbole.model.sequential_recommender.sasrec import SASRec


class GSASRec(SASRec):
    """gSASRec; keys are SASRec's and those of the loss."""
