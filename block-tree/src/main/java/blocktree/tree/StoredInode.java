package blocktree.tree;

import blocktree.crypto.BlockId;
import blocktree.tree.TreeFormat.DirectoryContent;
import blocktree.tree.TreeFormat.ExtendedAttribute;
import blocktree.tree.TreeFormat.FileContent;
import blocktree.tree.TreeFormat.TreeAttributes;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.UnsafeByteOperations;
import java.util.Collections;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * The content of a block's sealed attributes (docs/format.md, section 5.1): an inode as it is stored. Exactly one of {@code file} and {@code directory} is there for those
 * kinds, none for others. Arrays are not to be changed.
 */
record StoredInode(
        int mode,
        int uid,
        int gid,
        long linkCount,
        long device,
        long accessTimeNanos,
        long modifyTimeNanos,
        long changeTimeNanos,
        long birthTimeNanos,
        byte[] symlinkTarget,
        SortedMap<Name, byte[]> extendedAttributes,
        @Nullable File file,
        @Nullable Directory directory) {

    static final int VERSION = 1;
    /** Sectors of new blocks, 4 KiB: a page of the kernel, so that a small write anywhere reads nothing and seals what it changes. */
    static final int SECTOR_SIZE_LOG2 = 12;

    static final int INLINE_BYTES_MAX = 4096;
    static final int SYMLINK_BYTES_MAX = 4095;
    static final int EXTENDED_ATTRIBUTE_BYTES_MAX = 65_536;
    /** Names and values of all extended attributes of an inode together. */
    static final int EXTENDED_ATTRIBUTES_BYTES_MAX = 96 * 1024;

    static final long FILE_SIZE_MAX = 1L << 62;

    /** @param inline the whole content, or empty when it lies in sectors (or is empty, or all hole) */
    record File(long sizeBytes, byte[] inline, long storedSectors) {
        static final File EMPTY = new File(0, new byte[0], 0);
    }

    /** @param parent the directory that holds this one; null for the root */
    record Directory(@Nullable BlockId parent, byte[] hashKey, DirectoryIndex.Layout layout) {}

    /** The same inode with other content. */
    StoredInode withFile(File content) {
        return new StoredInode(
                mode,
                uid,
                gid,
                linkCount,
                device,
                accessTimeNanos,
                modifyTimeNanos,
                changeTimeNanos,
                birthTimeNanos,
                symlinkTarget,
                extendedAttributes,
                content,
                directory);
    }

    Protection protection() {
        return new Protection(mode, extendedAttributes);
    }

    byte[] encode() {
        TreeAttributes.Builder out = TreeAttributes.newBuilder()
                .setVersion(VERSION)
                .setMode(mode)
                .setUid(uid)
                .setGid(gid)
                .setLinkCount(linkCount)
                .setDevice(device)
                .setAccessTimeNanos(accessTimeNanos)
                .setModifyTimeNanos(modifyTimeNanos)
                .setChangeTimeNanos(changeTimeNanos)
                .setBirthTimeNanos(birthTimeNanos)
                .setSymlinkTarget(wrap(symlinkTarget));
        for (Map.Entry<Name, byte[]> attribute : extendedAttributes.entrySet()) {
            out.addExtendedAttributes(ExtendedAttribute.newBuilder()
                    .setName(wrap(attribute.getKey().bytes()))
                    .setValue(wrap(attribute.getValue())));
        }
        if (file != null) {
            out.setFile(FileContent.newBuilder()
                    .setSize(file.sizeBytes())
                    .setInline(wrap(file.inline()))
                    .setStoredSectors(file.storedSectors()));
        }
        if (directory != null) {
            DirectoryIndex.Layout layout = directory.layout();
            DirectoryContent.Builder content = DirectoryContent.newBuilder()
                    .setHashKey(wrap(directory.hashKey()))
                    .setEntryCount(layout.entryCount())
                    .setHeight(layout.height())
                    .setRoot(layout.height() == 0 ? 0 : layout.root())
                    .setFreeHead(layout.freeHead() + 1)
                    .setInline(wrap(layout.inline()));
            if (directory.parent() != null) {
                content.setParent(wrap(directory.parent().toBytes()));
            }
            out.setDirectory(content);
        }
        return out.build().toByteArray();
    }

    /** @param sectorCount of the block's payload, which is a directory's tree */
    static StoredInode decode(byte[] encoded, long sectorCount) throws FormatException {
        TreeAttributes in;
        try {
            in = TreeAttributes.parseFrom(encoded);
        } catch (InvalidProtocolBufferException e) {
            throw new FormatException("attributes that are no protobuf message");
        }
        if (in.getVersion() != VERSION) {
            throw new FormatException(
                    "attributes of version " + in.getVersion() + ", this program reads version " + VERSION);
        }
        int type = in.getMode() & Attributes.TYPE_MASK;
        boolean regular = type == Attributes.TYPE_REGULAR;
        boolean directory = type == Attributes.TYPE_DIRECTORY;
        boolean symlink = type == Attributes.TYPE_SYMLINK;
        if ((in.getMode() & ~(Attributes.TYPE_MASK | 07777)) != 0 || !isKnown(type)) {
            throw new FormatException("attributes of an unknown kind");
        }
        if (regular != in.hasFile()
                || directory != in.hasDirectory()
                || symlink == in.getSymlinkTarget().isEmpty()) {
            throw new FormatException("attributes whose content is of another kind");
        }
        if (in.getLinkCount() < 0 || in.getSymlinkTarget().size() > SYMLINK_BYTES_MAX) {
            throw new FormatException("attributes out of bounds");
        }
        return new StoredInode(
                in.getMode(),
                in.getUid(),
                in.getGid(),
                in.getLinkCount(),
                in.getDevice(),
                in.getAccessTimeNanos(),
                in.getModifyTimeNanos(),
                in.getChangeTimeNanos(),
                in.getBirthTimeNanos(),
                in.getSymlinkTarget().toByteArray(),
                extendedAttributes(in),
                regular ? file(in.getFile(), sectorCount) : null,
                directory ? directory(in.getDirectory(), sectorCount) : null);
    }

    private static File file(FileContent in, long sectorCount) throws FormatException {
        ByteString inline = in.getInline();
        boolean sizesFit = inline.isEmpty()
                || inline.size() == in.getSize() && inline.size() <= INLINE_BYTES_MAX && sectorCount == 0;
        if (in.getSize() < 0 || in.getSize() > FILE_SIZE_MAX || in.getStoredSectors() < 0 || !sizesFit) {
            throw new FormatException("file content out of bounds");
        }
        return new File(in.getSize(), inline.toByteArray(), in.getStoredSectors());
    }

    private static Directory directory(DirectoryContent in, long sectorCount) throws FormatException {
        if (in.getHashKey().size() != SipHash.KEY_SIZE
                || !in.getParent().isEmpty() && in.getParent().size() != 32
                || in.getInline().size() > DirectoryNode.HEADER_SIZE + DirectoryIndex.INLINE_BYTES_MAX
                || in.getEntryCount() < 0
                || sectorCount > DirectoryNode.SECTOR_COUNT_MAX
                || in.getHeight() != 0 && !in.getInline().isEmpty()) {
            throw new FormatException("directory content out of bounds");
        }
        return new Directory(
                in.getParent().isEmpty() ? null : BlockId.of(in.getParent().toByteArray()),
                in.getHashKey().toByteArray(),
                new DirectoryIndex.Layout(
                        in.getEntryCount(),
                        in.getHeight(),
                        in.getHeight() == 0 ? DirectoryNode.NO_SECTOR : in.getRoot(),
                        in.getFreeHead() - 1,
                        (int) sectorCount,
                        in.getInline().toByteArray()));
    }

    private static SortedMap<Name, byte[]> extendedAttributes(TreeAttributes in) throws FormatException {
        if (in.getExtendedAttributesCount() == 0) {
            return Collections.emptySortedMap();
        }
        TreeMap<Name, byte[]> attributes = new TreeMap<>();
        long total = 0;
        for (ExtendedAttribute attribute : in.getExtendedAttributesList()) {
            total += attribute.getName().size() + attribute.getValue().size();
            boolean valid =
                    !attribute.getName().isEmpty() && attribute.getName().size() <= FileSystem.NAME_SIZE_MAX;
            if (!valid
                    || total > EXTENDED_ATTRIBUTES_BYTES_MAX
                    || attributes.put(
                                    Name.wrap(attribute.getName().toByteArray()),
                                    attribute.getValue().toByteArray())
                            != null) {
                throw new FormatException("extended attributes out of bounds");
            }
        }
        return attributes;
    }

    static boolean isKnown(int type) {
        return switch (type) {
            case Attributes.TYPE_FIFO,
                    Attributes.TYPE_CHARACTER_DEVICE,
                    Attributes.TYPE_DIRECTORY,
                    Attributes.TYPE_BLOCK_DEVICE,
                    Attributes.TYPE_REGULAR,
                    Attributes.TYPE_SYMLINK,
                    Attributes.TYPE_SOCKET -> true;
            default -> false;
        };
    }

    private static ByteString wrap(byte[] bytes) {
        return UnsafeByteOperations.unsafeWrap(bytes);
    }
}
