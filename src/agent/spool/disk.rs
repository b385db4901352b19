//! What a spool needs of a disk, and the real one. Tests have one that fails.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// A folder of files on a disk.
pub trait Disk {
    /// A file that is written to.
    type File;

    /// The names in the folder.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A new file with so much room, which is taken now and not when it is written to.
    fn create(&self, name: &str, room: u64) -> io::Result<Self::File>;

    /// Writes at a place within the room.
    fn write_at(&self, file: &mut Self::File, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// When it returns, what was written stays.
    fn sync(&self, file: &mut Self::File) -> io::Result<()>;

    /// When it returns, files that were created are found after a power cut.
    fn sync_folder(&self) -> io::Result<()>;

    /// The length of a file, and its content up to so many bytes.
    fn whole(&self, name: &str, most: u64) -> io::Result<(u64, Vec<u8>)>;

    /// Some bytes of a file, fewer where it ends.
    fn read(&self, name: &str, offset: u64, length: u64) -> io::Result<Vec<u8>>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A folder of this computer.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder, for this user alone, unless it is there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)?;
        Ok(Self { path: path.to_owned() })
    }

    fn of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Disk for Folder {
    type File = File;

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn create(&self, name: &str, room: u64) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.of(name))?;
        take_room(&file, room)?;
        file.sync_all()?;
        Ok(file)
    }

    fn write_at(&self, file: &mut File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        use std::io::{Seek as _, Write as _};
        file.seek(io::SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }

    fn sync(&self, file: &mut File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_folder(&self) -> io::Result<()> {
        #[cfg(unix)]
        File::open(&self.path)?.sync_all()?;
        Ok(())
    }

    fn whole(&self, name: &str, most: u64) -> io::Result<(u64, Vec<u8>)> {
        let file = File::open(self.of(name))?;
        let length = file.metadata()?.len();
        let mut content = Vec::new();
        file.take(most).read_to_end(&mut content)?;
        Ok((length, content))
    }

    fn read(&self, name: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        use std::io::Seek as _;
        let mut file = File::open(self.of(name))?;
        file.seek(io::SeekFrom::Start(offset))?;
        let mut content = Vec::new();
        file.take(length).read_to_end(&mut content)?;
        Ok(content)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.of(name))
    }
}

/// Takes the file's room from the disk, so that writing to it later does not fail for lack of it.
#[cfg(target_os = "linux")]
fn take_room(file: &File, room: u64) -> io::Result<()> {
    let room = nix::libc::off_t::try_from(room).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    nix::fcntl::posix_fallocate(file, 0, room).map_err(io::Error::from)
}

/// Elsewhere the length alone can be set.
#[cfg(not(target_os = "linux"))]
fn take_room(file: &File, room: u64) -> io::Result<()> {
    file.set_len(room)
}
