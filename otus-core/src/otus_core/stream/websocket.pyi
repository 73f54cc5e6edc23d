from typing import final

@final
class Socket: ...
