"""The door between parent and child: the work order that goes in, the records that come out.

One JSON object a line crosses in each direction. The child's standard input begins with its task;
it answers with records on one pipe, and between timed blocks it waits for a command on its input.
Standard library only: both sides import this file, and the child's interpreter may have nothing
else but torch.
"""

from trnbench.protocol.codec import ProtocolError, decode, encode, from_json
from trnbench.protocol.model import (
    Experts,
    ExternalKind,
    ExternalModel,
    ExternalTask,
    Image,
    ModelShape,
    RopeScaling,
    masked_positions,
)
from trnbench.protocol.orders import (
    COMMANDS,
    PROTOCOL_VERSION,
    AdamW,
    AttentionTask,
    CollectiveTask,
    Command,
    DescribeModel,
    Execution,
    Finish,
    GateOrder,
    Lora,
    MatmulTask,
    Microbench,
    MoveTask,
    OptimizerSettings,
    PeakTask,
    Precision,
    ProbeDevices,
    ProfileSteps,
    Purpose,
    Recompute,
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
from trnbench.protocol.records import (
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
    FailureReason,
    Finished,
    FoundDevice,
    Inventory,
    Memory,
    NeuronGeneration,
    OperatorTime,
    Parity,
    ParityPoint,
    PeakPoint,
    Phase,
    Probe,
    Profiled,
    WeightUpdate,
)
