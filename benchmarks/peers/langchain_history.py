"""A chat that remembers with langchain-community's history in DynamoDB: read it, answer, append to it."""

from typing import Any

# LangChain is only in the environment of the benchmarks.
from langchain_community.chat_message_histories import (  # pyright: ignore[reportMissingImports]
    DynamoDBChatMessageHistory,
)
from langchain_core.messages import AIMessage, HumanMessage  # pyright: ignore[reportMissingImports]


class LangChainChat:
    """`history_size` is how many messages it keeps; None: all."""

    def __init__(self, table: str, endpoint: str, history_size: int | None) -> None:
        self._history: Any = DynamoDBChatMessageHistory(
            table_name=table, session_id="benchmark", endpoint_url=endpoint, history_size=history_size
        )

    def messages(self) -> list[Any]:
        return self._history.messages

    def turn(self, question: str, answer: str) -> None:
        """Raises botocore's ClientError."""
        self.messages()  # what the model would see
        self._history.add_messages([HumanMessage(question), AIMessage(answer)])
