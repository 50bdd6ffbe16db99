"""Pure arithmetic on shapes, records and prices: nothing here opens a file or reads a clock."""
