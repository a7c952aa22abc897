package blocktree.tree;

import blocktree.tree.FileSystemException.Code;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;

/** What one mount sees of a tree: all of it or a directory, read-only or not. Its root has inode number 1; all other numbers are the tree's. Holds a reference to its root. */
final class TreeView implements FileSystem {
    private static final long SNAPSHOTS_COOKIE = Long.MAX_VALUE - 4;

    private final TreeFileSystem tree;
    private final long root;
    private final ViewOptions options;
    private volatile boolean closed;

    TreeView(TreeFileSystem tree, long root, ViewOptions options) {
        this.tree = tree;
        this.root = root;
        this.options = options;
    }

    private long in(long inode) throws FileSystemException {
        if (closed) {
            throw new FileSystemException(Code.CLOSED, "the view is closed");
        }
        return inode == ROOT_INODE ? root : inode;
    }

    private long changing(long inode) throws FileSystemException {
        if (options.readOnly()) {
            throw new FileSystemException(Code.READ_ONLY, "a read-only view");
        }
        return in(inode);
    }

    private long out(long inode) {
        return inode == root ? ROOT_INODE : inode;
    }

    private Attributes out(Attributes a) {
        return a.inode() != root || root == ROOT_INODE ? a : a.withInode(ROOT_INODE);
    }

    @Override
    public Attributes lookup(long parent, Name name) throws FileSystemException {
        return out(tree.lookup(in(parent), name));
    }

    @Override
    public void forget(long inode, long count) {
        if (inode != ROOT_INODE) {
            tree.forget(inode, count);
        }
    }

    @Override
    public Attributes getAttributes(long inode) throws FileSystemException {
        return out(tree.getAttributes(in(inode)));
    }

    @Override
    public Attributes setAttributes(Caller caller, long inode, AttributeChange change) throws FileSystemException {
        return out(tree.setAttributes(caller, changing(inode), change));
    }

    @Override
    public Attributes makeNode(Caller caller, long parent, Name name, int mode, long device)
            throws FileSystemException {
        return tree.makeNode(caller, changing(parent), name, mode, device);
    }

    @Override
    public Attributes makeDirectory(Caller caller, long parent, Name name, int mode) throws FileSystemException {
        return tree.makeDirectory(caller, changing(parent), name, mode);
    }

    @Override
    public Attributes makeSymlink(Caller caller, long parent, Name name, byte[] target) throws FileSystemException {
        return tree.makeSymlink(caller, changing(parent), name, target);
    }

    @Override
    public byte[] readSymlink(long inode) throws FileSystemException {
        return tree.readSymlink(in(inode));
    }

    @Override
    public Attributes link(long inode, long newParent, Name newName) throws FileSystemException {
        return tree.link(changing(inode), changing(newParent), newName);
    }

    @Override
    public void unlink(long parent, Name name) throws FileSystemException {
        tree.unlink(changing(parent), name);
    }

    @Override
    public void removeDirectory(long parent, Name name) throws FileSystemException {
        tree.removeDirectory(changing(parent), name);
    }

    @Override
    public void rename(long parent, Name name, long newParent, Name newName, RenameMode mode)
            throws FileSystemException {
        tree.rename(changing(parent), name, changing(newParent), newName, mode);
    }

    @Override
    public long open(Caller caller, long inode, OpenMode mode) throws FileSystemException {
        return tree.open(caller, mode.write() || mode.truncate() ? changing(inode) : in(inode), mode);
    }

    @Override
    public Created create(Caller caller, long parent, Name name, int mode, OpenMode open) throws FileSystemException {
        return tree.create(caller, changing(parent), name, mode, open);
    }

    @Override
    public Created createNameless(Caller caller, long parent, int mode, OpenMode open, boolean linkable)
            throws FileSystemException {
        return tree.createNameless(caller, changing(parent), mode, open, linkable);
    }

    @Override
    public int read(long handle, long offset, ByteBuffer target) throws FileSystemException {
        return tree.read(handle, offset, target);
    }

    @Override
    public int write(Caller caller, long handle, long offset, ByteBuffer source) throws FileSystemException {
        return tree.write(caller, handle, offset, source);
    }

    @Override
    public void flush(long handle) throws FileSystemException {
        tree.flush(handle);
    }

    @Override
    public CompletableFuture<Void> beginFsync(long handle, boolean dataOnly) throws FileSystemException {
        return tree.beginFsync(handle, dataOnly);
    }

    @Override
    public void release(long handle) {
        tree.release(handle);
    }

    @Override
    public CompletableFuture<Void> beginFsyncDirectory(long inode) throws FileSystemException {
        return tree.beginFsyncDirectory(in(inode));
    }

    @Override
    public void allocate(Caller caller, long handle, int mode, long offset, long sizeBytes) throws FileSystemException {
        tree.allocate(caller, handle, mode, offset, sizeBytes);
    }

    @Override
    public long copy(Caller caller, long source, long sourceOffset, long target, long targetOffset, long sizeBytes)
            throws FileSystemException {
        return tree.copy(caller, source, sourceOffset, target, targetOffset, sizeBytes);
    }

    @Override
    public long seek(long handle, long offset, boolean hole) throws FileSystemException {
        return tree.seek(handle, offset, hole);
    }

    @Override
    public void readDirectory(long inode, long cookie, DirectorySink sink) throws FileSystemException {
        boolean showsSnapshots = options.showSnapshots() && inode == ROOT_INODE && root == ROOT_INODE;
        if (!showsSnapshots) {
            tree.readDirectory(in(inode), cookie, sink);
            return;
        }
        boolean[] stopped = new boolean[1];
        if (cookie < SNAPSHOTS_COOKIE) {
            tree.readDirectory(in(inode), cookie, (name, child, mode, at) -> {
                stopped[0] = !sink.entry(name, child, mode, at);
                return !stopped[0];
            });
            if (!stopped[0]) {
                Attributes snapshots = tree.lookup(root, History.SNAPSHOTS);
                tree.forget(snapshots.inode(), 1);
                sink.entry(History.SNAPSHOTS, snapshots.inode(), Attributes.TYPE_DIRECTORY, SNAPSHOTS_COOKIE);
            }
        }
    }

    @Override
    public long parent(long inode) throws FileSystemException {
        return inode == ROOT_INODE ? ROOT_INODE : out(tree.parent(in(inode)));
    }

    @Override
    public byte[] getExtendedAttribute(long inode, Name name) throws FileSystemException {
        return tree.getExtendedAttribute(in(inode), name);
    }

    @Override
    public void setExtendedAttribute(Caller caller, long inode, Name name, byte[] value, ExtendedAttributeMode mode)
            throws FileSystemException {
        tree.setExtendedAttribute(caller, changing(inode), name, value, mode);
    }

    @Override
    public Name[] listExtendedAttributes(long inode) throws FileSystemException {
        return tree.listExtendedAttributes(in(inode));
    }

    @Override
    public void removeExtendedAttribute(long inode, Name name) throws FileSystemException {
        tree.removeExtendedAttribute(changing(inode), name);
    }

    @Override
    public CompletableFuture<Void> room() {
        return tree.room();
    }

    @Override
    public Changes changes() {
        return tree.changes();
    }

    @Override
    public FileLocks locks() {
        return tree.locks();
    }

    @Override
    public long rootNumber() {
        return root;
    }

    @Override
    public Statistics statistics() throws FileSystemException {
        return tree.statistics();
    }

    @Override
    public void sync() throws FileSystemException {
        tree.sync();
    }

    @Override
    public void close() throws FileSystemException {
        if (!closed) {
            closed = true;
            if (!options.readOnly()) {
                tree.sync();
            }
            if (root != ROOT_INODE) {
                tree.forget(root, 1);
            }
        }
    }
}
