"""What parent and worker exchange: the task that goes in, the records that come out.

One JSON object a line in each direction. Standard library alone: both sides import this room, and
the worker's interpreter may have nothing else but torch.
"""
