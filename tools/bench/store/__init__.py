"""``respq bench store``: the store beside other stores, on the same data and as durable."""
