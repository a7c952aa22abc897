package blocktree.node;

import blocktree.btmsg.ControlReply;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;

/** Prints what fsck and scrub find, as it comes, and counts what is wrong. */
final class CheckReport {

    private final Output output;
    private int problemCount;
    private final ProgressLine line = new ProgressLine();

    CheckReport(Output output) {
        this.output = output;
    }

    /** Called on one thread at a time. */
    void accept(ControlReply part) {
        if (part instanceof ControlReply.Finding finding) {
            line.clear();
            Map<String, Object> value = new LinkedHashMap<>();
            value.put("type", "finding");
            value.put("severity", finding.severity());
            value.put("kind", finding.kind());
            value.put("subject", finding.subject());
            value.put("detail", finding.detail());
            value.put("repaired", finding.repaired());
            output.print(
                    value,
                    "%s %s %s: %s%s"
                            .formatted(
                                    finding.severity(),
                                    finding.kind(),
                                    finding.subject(),
                                    finding.detail(),
                                    finding.repaired() ? " (repaired)" : ""));
            if (finding.severity().equals("error") && !finding.repaired()) {
                problemCount++;
            }
        } else if (part instanceof ControlReply.Progress progress) {
            line.show(progress.phase(), progress.done(), progress.total());
        }
    }

    /** Prints the end of it and says what to exit with. */
    int finish(ControlReply.Checked checked) {
        line.clear();
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("type", "summary");
        value.put("clean", problemCount == 0);
        value.put("findings", problemCount);
        value.put("counters", new TreeMap<>(checked.counters()));
        StringBuilder text = new StringBuilder(
                problemCount == 0 ? "clean" : problemCount + (problemCount == 1 ? " finding" : " findings"));
        new TreeMap<>(checked.counters()).forEach((name, count) -> text.append("\n  %-32s %,d".formatted(name, count)));
        output.print(value, text.toString());
        return (problemCount == 0 ? ExitCode.OK : ExitCode.FAILED).code();
    }
}
