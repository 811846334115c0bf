"""Errors that a person can mend: the message is complete, and needs no traceback.

    SmolmathError
    ├── ParamsError        params.yaml
    ├── StageError         what a stage needs and does not find, or must not do
    ├── TableError         a raw data file that is no table
    ├── LayoutError        columns that fit no layout
    ├── EmptyDatasetError  nothing left after filtering
    ├── LeakError          a problem on two sides of a split
    ├── WorkerError        a worker process that died
    ├── InspectionError    something to inspect that is no dataset
    ├── TokenizerError     what tokens are counted by
    ├── RecordsError       a table of ours that is missing or broken
    ├── RankingError       what several versions cannot be asked
    ├── DeviceError        a GPU that is not there
    ├── LaunchError        several processes that can't be started as asked
    ├── GitError           what Git cannot say
    ├── LockError          a dvc.lock that is none
    ├── TuneError          a search that cannot begin or go on
    ├── QueueError         an experiment that DVC refuses
    ├── TrailError         a result that nothing is recorded of
    ├── ReportError        a result that the report cannot read
    ├── ModelError         a model that is not there, or can't be used
    ├── QuestionError      a question that can't be asked
    ├── SaveError          a file of solutions that can't be written
    ├── SynthesisError     a synthesis that cannot begin, or came to nothing
    ├── AgentError         what an agent needs and does not find
    ├── AddressError       an address that can't be served on
    └── PublishError       a model that can't be published as asked

StageError stands here, since every room raises it; the others stand in the module that raises them. `stage_run` and
the command line print the message and exit with 1.
"""


class SmolmathError(ValueError):
    """Base of all of them."""

    status = 1  # that a stage ends with


class StageError(SmolmathError):
    """Something a person must change for a stage to go on; the message is complete and needs no traceback."""
