package blocktree.btmsg.session;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.util.Arrays;
import java.util.List;

/** Addresses by name. */
final class Addresses {

    private Addresses() {}

    /** Each that the name of {@code address} has, with its port; itself when it is no name. Blocks. */
    static List<InetSocketAddress> resolve(InetSocketAddress address) throws UnknownHostException {
        if (!address.isUnresolved()) {
            return List.of(address);
        }
        return Arrays.stream(InetAddress.getAllByName(address.getHostString()))
                .map(one -> new InetSocketAddress(one, address.getPort()))
                .toList();
    }
}
