"""The door between parent and child: the work order that goes in, the records that come out.

One JSON object a line crosses in each direction. The child's standard input begins with its task;
it answers with records on one pipe, and between timed blocks it waits for a command on its input.
Standard library only: both sides import this file, and the child's interpreter may have nothing
else but torch.
"""

from trnbench.wire.jsonl import WireError, decode, encode, from_json
from trnbench.wire.models import (
    Experts,
    Guest,
    GuestKind,
    GuestTask,
    Image,
    ModelShape,
    RopeScaling,
    masked_positions,
)
from trnbench.wire.orders import (
    COMMANDS,
    AttentionTask,
    CollectiveTask,
    Command,
    DescribeModel,
    Finish,
    GateOrder,
    Lora,
    Microbench,
    MoveTask,
    OptimizerSettings,
    PeakTask,
    ProbeDevices,
    ProductTask,
    ProfileSteps,
    RunBlock,
    StepSettings,
    StreamSettings,
    TakeInventory,
    Task,
    Train,
    WorkOrder,
    decode_task,
    encode_task,
)
from trnbench.wire.records import (
    CHILD_RECORDS,
    Activity,
    Block,
    Built,
    Ceiling,
    CeilingPoint,
    ChildRecord,
    Described,
    Environment,
    Failed,
    Finished,
    FoundDevice,
    Inventory,
    Memory,
    Movement,
    OperatorTime,
    Parity,
    ParityPoint,
    PeakPoint,
    Phase,
    Probe,
    Profiled,
)
from trnbench.wire.terms import (
    WIRE_VERSION,
    AdamW,
    Execution,
    FailureReason,
    NeuronGeneration,
    Precision,
    Purpose,
    Recompute,
)
