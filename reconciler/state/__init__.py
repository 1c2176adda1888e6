"""The plain values that flow between the layers: references, records, steps, changes, snapshots, facts."""
