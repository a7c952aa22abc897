package blocktree.testharness.model;

import blocktree.testharness.posix.Posix;
import blocktree.testharness.posix.PosixException;

/** One operation with all its arguments, ready to run on either side. */
record Operation(String text, int user, Action action) {

    interface Action {
        Outcome run(Side side) throws PosixException;
    }

    Outcome apply(Side side) {
        try {
            return Posix.as(user, user, () -> action.run(side));
        } catch (PosixException e) {
            return Outcome.of(e.errnoText());
        }
    }

    @Override
    public String toString() {
        return user == 0 ? text : text + " as " + user;
    }
}
