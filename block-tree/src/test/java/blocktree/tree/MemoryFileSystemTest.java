package blocktree.tree;

class MemoryFileSystemTest extends FileSystemContractTest {
    @Override
    FileSystem open() {
        return new MemoryFileSystem(256 << 20);
    }
}
