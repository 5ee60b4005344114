"""Stands before a pyarrow that can't be imported; see :func:`recbole_ext.compat.ray_workers.job_without_pyarrow`."""

raise ModuleNotFoundError("pyarrow can't be imported beside numpy 1", name="pyarrow")
