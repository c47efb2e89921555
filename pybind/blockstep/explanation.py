# SPDX-License-Identifier: Apache-2.0
"""Explanation: what would come of a command that was not given."""
import dataclasses

from blockstep import drawing


def _key(edge: dict) -> tuple:
    return edge["parent"], edge["name"], edge["child"], edge["used"], edge["shared"]


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What would come of a command.

    accepted    whether it would succeed; error: the sentence it would be refused with
    needs       edges it would add, or give other permissions: dictionaries as in vm.graph()
    gives_up    edges that would be gone, or were different
    conflicts   everybody in whose way it is: node, permissions (or graph_mod, the operation on the
                graph), requires, unshares
    graph       as it would be; of a refused command as it was asked for
    """

    command: str
    accepted: bool
    error: str | None
    needs: list
    gives_up: list
    conflicts: list
    graph: dict

    @staticmethod
    def _as_in_graph(answer: dict) -> dict:
        """The answer came as text, which has no tuples."""
        graph = answer["graph"]
        return {"nodes": graph["nodes"], "edges": [
            {name: tuple(value) if isinstance(value, list) else value
             for name, value in edge.items()} for edge in graph["edges"]]}

    @classmethod
    def of(cls, now: dict, command: str, answer: dict) -> "Explanation":
        graph = cls._as_in_graph(answer)
        before = {_key(edge) for edge in now["edges"]}
        after = {_key(edge) for edge in graph["edges"]}
        return cls(command, answer["accepted"], answer["error"],
                   [edge for edge in graph["edges"] if _key(edge) not in before],
                   [edge for edge in now["edges"] if _key(edge) not in after],
                   answer["conflicts"], graph)

    def __str__(self):
        lines = [f"{self.command}: " + ("would be accepted" if self.accepted else
                                        f"would be refused: {self.error}")]
        for conflict in self.conflicts:
            what = conflict["graph_mod"] or ", ".join(conflict["permissions"])
            lines.append(f"  {conflict['requires']['description']} needs {what} on node "
                         f"'{conflict['node']}', {conflict['unshares']['description']} does not "
                         "share it")
        for edge in self.needs:
            lines.append(f"  needs {edge['parent']} --{edge['name']}--> {edge['child']}: "
                         f"{drawing.letters(edge['used'])} / {drawing.letters(edge['shared'])}")
        return "\n".join(lines)

    def to_text(self) -> str:
        """The graph with conflicts marked, as lines of text."""
        return drawing.to_text(self.graph, self.conflicts)

    def to_mermaid(self) -> str:
        return drawing.to_mermaid(self.graph, self.conflicts)

    def to_svg(self) -> str:
        return drawing.to_svg(self.graph, self.conflicts)
