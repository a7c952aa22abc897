package blocktree.btmsg.session;

/** So many things of so many bytes in all may be under way. Thread-safe. */
final class Budget {
    private final int countMax;
    private final long bytesMax;
    private int count;
    private long bytes;

    Budget(int countMax, long bytesMax) {
        this.countMax = countMax;
        this.bytesMax = bytesMax;
    }

    synchronized boolean take(long sizeBytes) {
        if (count >= countMax || bytes + sizeBytes > bytesMax) {
            return false;
        }
        count++;
        bytes += sizeBytes;
        return true;
    }

    synchronized void giveBack(long sizeBytes) {
        count--;
        bytes -= sizeBytes;
    }

    synchronized int count() {
        return count;
    }
}
