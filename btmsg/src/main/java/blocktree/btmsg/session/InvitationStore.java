package blocktree.btmsg.session;

import java.io.IOException;
import java.util.Map;

/** Where {@link Invitations} keeps its rows, which are sealed: they may lie on any disk. */
public interface InvitationStore {

    /** In place of an earlier row of this id; on the device when it returns. An id is 32 hexadecimal digits. */
    void put(String id, byte[] sealed) throws IOException;

    /** Nothing when there is none. On the device when it returns. */
    void delete(String id) throws IOException;

    /** By id. */
    Map<String, byte[]> readAll() throws IOException;
}
