"""What some sets say of a problem beside question and answer: further columns of its table, where its rows have them.

Apart from records.py, which every stage depends on: a new one here must not train anything again.
"""

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from smolmath.records import PROBLEMS

TRAITS = pa.schema(
    [
        pa.field("level", pa.string()),  # how hard the set calls it, as it writes it: 5, Level 5
        pa.field("variant_of", pa.string()),  # id of the problem that it was made from
    ]
)


def problems_with(names: Collection[str]) -> pa.Schema:
    """The columns of problems that have those traits of which `names` has the name."""
    return pa.schema([*PROBLEMS, *(trait for trait in TRAITS if trait.name in names)], metadata=PROBLEMS.metadata)


def problems_schema(path: Path) -> pa.Schema:
    """The columns of a file of problems; of one that cannot be read those that it lacks, for the reader's error."""
    try:
        return problems_with(pq.read_schema(path).names)
    except (FileNotFoundError, pa.ArrowInvalid):
        return PROBLEMS
