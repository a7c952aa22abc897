package blocktree.cluster.raft;

import blocktree.btmsg.session.Messenger;
import blocktree.cluster.Machine;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.TreeId;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Set;

/**
 * What a voter is made of.
 *
 * @param directory for its log; made when it is not there
 * @param tree whose order this is
 * @param self this node
 * @param voters who votes to begin with, as long as the directory says nothing newer. When this node is not among them it waits to be
 *     taken in by one of them, and hears nobody else until then
 * @param messenger whose sessions carry everything; there is one agreement at a time, which registers services and takes them back when it is closed
 * @param electionTimeout the shortest time without a word from the leader after which there may be an election; the longest is half
 *     as much again. The leader says a word at least each half of it
 * @param proposeTimeout how long a proposal may look for a leader, and then wait for a majority
 * @param syncEvery after how many entries the machine is asked to sync, and the log to shrink
 * @param kept how many entries the log keeps although the machine has them, for voters that were away
 */
public record RaftOptions(
        Path directory,
        TreeId tree,
        PrincipalId self,
        Set<PrincipalId> voters,
        Messenger messenger,
        Machine machine,
        Duration electionTimeout,
        Duration proposeTimeout,
        int syncEvery,
        int kept) {

    public RaftOptions {
        voters = Set.copyOf(voters);
        if (electionTimeout.toMillis() < 50 || proposeTimeout.toMillis() < 1 || syncEvery < 1 || kept < 0) {
            throw new IllegalArgumentException("timeouts or sizes are too small");
        }
    }

    /** With the usual times and sizes. */
    public static RaftOptions of(
            Path directory,
            TreeId tree,
            PrincipalId self,
            Set<PrincipalId> voters,
            Messenger messenger,
            Machine machine) {
        return new RaftOptions(
                directory,
                tree,
                self,
                voters,
                messenger,
                machine,
                Duration.ofMillis(700),
                Duration.ofSeconds(10),
                2048,
                1024);
    }

    public RaftOptions withTimeouts(Duration election, Duration propose) {
        return new RaftOptions(directory, tree, self, voters, messenger, machine, election, propose, syncEvery, kept);
    }

    /** With so many entries kept, and the machine asked to sync as often as goes with that. */
    public RaftOptions withLog(int newKept) {
        return withLog(Math.min(syncEvery, 2 * newKept), newKept);
    }

    public RaftOptions withLog(int newSyncEvery, int newKept) {
        return new RaftOptions(
                directory,
                tree,
                self,
                voters,
                messenger,
                machine,
                electionTimeout,
                proposeTimeout,
                newSyncEvery,
                newKept);
    }
}
