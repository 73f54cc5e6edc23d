OUTPUTS: object
