package blocktree.node;

import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

@Command(
        name = "nodes",
        description = {
            "Show the nodes of the tree as the running node knows them: who votes, who leads, who is connected, how far each is.",
            "A majority of those that vote has to be there for the tree to be written to."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class NodesCommand implements Callable<Integer> {
    private static final int PRINCIPAL_DIGITS = 16;

    @Mixin
    private NodeOptions node;

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        List<ControlReply.NodeState> nodes;
        try (NodeClient client = NodeClient.require(node.path())) {
            nodes = ((ControlReply.Nodes) client.call(new ControlRequest.Nodes())).nodes();
        }
        if (output.isJson()) {
            nodes.forEach(each -> output.print(toJson(each), ""));
            return ExitCode.OK.code();
        }
        List<List<String>> rows = new ArrayList<>();
        rows.add(List.of("NAME", "PRINCIPAL", "ROLE", "STATE", "RTT", "POSITION", "BEHIND", "ADDRESSES"));
        for (ControlReply.NodeState each : nodes) {
            rows.add(List.of(
                    each.name().isEmpty() ? "-" : each.name(),
                    each.principal().substring(0, PRINCIPAL_DIGITS),
                    role(each),
                    each.self() ? "this node" : each.connected() ? "connected" : "not connected",
                    each.rttNanos() == 0 ? "-" : "%.1f ms".formatted(each.rttNanos() / 1e6),
                    each.position() < 0 ? "-" : Long.toString(each.position()),
                    each.lag() < 0 ? "-" : Long.toString(each.lag()),
                    each.addresses().isEmpty() ? "-" : String.join(" ", each.addresses())));
        }
        output.print(Map.of(), table(rows) + warning(nodes));
        return ExitCode.OK.code();
    }

    private static String role(ControlReply.NodeState node) {
        String role = node.leader() ? "voter, leads" : node.voter() ? "voter" : "replica";
        return node.trusted() ? role : "blind " + role;
    }

    private static String warning(List<ControlReply.NodeState> nodes) {
        long voters = nodes.stream().filter(ControlReply.NodeState::voter).count();
        long there =
                nodes.stream().filter(each -> each.voter() && each.connected()).count();
        if (nodes.stream().noneMatch(ControlReply.NodeState::leader) && 2 * there <= voters) {
            return "\nOnly %d of %d that vote can be seen from here, no majority: the tree can be read, and is written to when more are back."
                    .formatted(there, voters);
        }
        return nodes.stream().noneMatch(ControlReply.NodeState::leader)
                ? "\nNobody leads at this moment: those that vote are choosing one."
                : "";
    }

    private static Map<String, Object> toJson(ControlReply.NodeState each) {
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("principal", each.principal());
        value.put("name", each.name());
        value.put("addresses", each.addresses());
        value.put("self", each.self());
        value.put("voter", each.voter());
        value.put("trusted", each.trusted());
        value.put("leader", each.leader());
        value.put("connected", each.connected());
        value.put("rtt_nanos", each.rttNanos());
        value.put("clock_difference_millis", each.clockDifferenceMillis());
        value.put("behind", each.lag());
        value.put("position", each.position());
        value.put("software", each.software());
        return value;
    }

    static String table(List<List<String>> rows) {
        int columns = rows.get(0).size();
        int[] widths = new int[columns];
        for (List<String> row : rows) {
            for (int i = 0; i < columns; i++) {
                widths[i] = Math.max(widths[i], row.get(i).length());
            }
        }
        StringBuilder text = new StringBuilder();
        for (List<String> row : rows) {
            StringBuilder line = new StringBuilder();
            for (int i = 0; i < columns; i++) {
                line.append(String.format(Locale.ROOT, "%-" + (widths[i] + 2) + "s", row.get(i)));
            }
            text.append(text.isEmpty() ? "" : "\n").append(line.toString().stripTrailing());
        }
        return text.toString();
    }
}
