"""Sweeps: many trainings with other hyper-parameters, the best of which becomes a model.

``population`` holds the rules (what is drawn, who beats whom, what changes, when to stop) and needs
neither torch nor Ray; ``tuning`` runs them on Ray Tune (extra ``sweep``).
"""
