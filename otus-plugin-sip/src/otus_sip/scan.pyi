METHODS: tuple[str, ...]
