"""The data that flows: frames from a capturer, decoded packets, outputs, flows, and the accounts that count them."""
