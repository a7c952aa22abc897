package blocktree.tree;

import blocktree.store.StoreException;
import blocktree.tree.FileSystemException.Code;

/** Translates the store's failures, in one place. */
final class StoreErrors {
    private StoreErrors() {}

    static FileSystemException toFileSystem(StoreException e) {
        Code code = switch (e.code()) {
            case NOT_FOUND -> Code.NOT_FOUND;
            case CORRUPT -> Code.CORRUPT;
            case DENIED, WRONG_KEY -> Code.DENIED;
            case NO_SPACE -> Code.NO_SPACE;
            case TIMED_OUT -> Code.TIMED_OUT;
            case CLOSED -> Code.CLOSED;
            case READ_ONLY -> Code.READ_ONLY;
            case CONFLICT, IO, LOCKED, LOST_WRITES, INVALID -> Code.IO;
        };
        return new FileSystemException(code, String.valueOf(e.getMessage()), e);
    }
}
