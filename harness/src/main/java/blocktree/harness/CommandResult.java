package blocktree.harness;

import java.util.List;

/** How a command ended and what it printed. */
public record CommandResult(int exitCode, String output, String errors) {

    /** The lines of the output. */
    public List<String> lines() {
        return output.lines().toList();
    }

    /** This, when the exit code is 0. */
    public CommandResult orThrow() throws HarnessException {
        if (exitCode != 0) {
            throw new HarnessException("exit code " + exitCode + "\n" + errors + output);
        }
        return this;
    }
}
