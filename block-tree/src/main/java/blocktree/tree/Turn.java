package blocktree.tree;

import java.util.ArrayList;
import java.util.List;

/**
 * Work that one does at a time, for all who have asked for it by then. Who asks while nobody is at it has the turn; who asks meanwhile leaves a request. The turn is over when no request is left: nobody who has left one is
 * forgotten, since both are decided under one monitor. Thread-safe.
 */
final class Turn<R> {
    // Guarded by this:
    private List<R> waiting = new ArrayList<>();
    private boolean taken;

    /** True: the caller has the turn, and has to {@link #take} and then {@link #end} it. False: who has it sees to these, or there are none. */
    synchronized boolean ask(List<R> requests) {
        waiting.addAll(requests);
        if (taken || waiting.isEmpty()) {
            return false;
        }
        taken = true;
        return true;
    }

    /** What to serve: all that have asked and were not served yet. */
    synchronized List<R> take() {
        List<R> served = waiting;
        waiting = new ArrayList<>();
        return served;
    }

    /** Those that were taken are served. True: others have come meanwhile, and it is the turn of whom the caller names. */
    synchronized boolean end() {
        taken = !waiting.isEmpty();
        return taken;
    }
}
