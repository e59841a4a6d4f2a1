//! Which container this may be, from what the kernel shows to a process. Text in, ids out.

/// Container ids of `/proc/self/cgroup`, the most likely first.
///
/// A line is `N:controllers:/path`. The id is the last part of the path (`/docker/ID`,
/// `/any/parent/ID`, `/docker/OUTER/docker/INNER`), or it ends that part (`docker-ID.scope` with
/// systemd's driver, `libpod-ID` of Podman). A private cgroup namespace shows `/` only.
pub(super) fn from_cgroup(text: &str) -> Vec<String> {
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let ids = paths.filter_map(|path| path.rsplit('/').find_map(id_at_end));
    unique(ids)
}

fn id_at_end(part: &str) -> Option<&str> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let start = part.len().checked_sub(64)?;
    let id = part.get(start..)?;
    // `docker-ID`, `crio-ID`; a longer run of hex digits is something else.
    let is_alone = matches!(part[..start].chars().last(), None | Some('-' | '_' | ':'));
    (is_alone && is_id(id)).then_some(id)
}

/// Container ids of `/proc/self/mountinfo`: the files that the engine mounts come out of a directory
/// that is named after the container. Podman's `.containerenv` comes first, as it is always one's own,
/// whereas the other three are another container's with `--network container:OTHER`.
pub(super) fn from_mountinfo(text: &str) -> Vec<String> {
    let of_podman = mounts(text).filter_map(|mount| id_of_file(mount.root, &[".containerenv"]));
    let of_network =
        mounts(text).filter_map(|mount| id_of_file(mount.root, &["hostname", "hosts", "resolv.conf"]));
    unique(of_podman.chain(of_network))
}

/// The id in `…/containers/ID/hostname` or `…/overlay-containers/ID/userdata/hostname`. What comes
/// before depends on where the engine keeps its data, and on where a file system of its own begins there.
fn id_of_file<'a>(root: &'a str, names: &[&str]) -> Option<&'a str> {
    let mut parts = root.rsplit('/');
    if !names.contains(&parts.next()?) {
        return None;
    }
    let id = match parts.next()? {
        "userdata" => parts.next()?,
        id => id,
    };
    let is_of_containers =
        parts.next().is_some_and(|part| part == "containers" || part.ends_with("-containers"));
    (is_of_containers && is_id(id)).then_some(id)
}

/// The host name where it is what an engine gives: the first 12 digits of the id.
pub(super) fn from_hostname(name: &str) -> Option<String> {
    (name.len() == 12 && is_hex(name)).then(|| name.to_owned())
}

/// The upper directory of the overlay that is our root, as the engine's host has it.
pub(super) fn upper_directory(mountinfo: &str) -> Option<String> {
    let root = root_mount(mountinfo)?;
    let value = root.super_options.split(',').find_map(|option| option.strip_prefix("upperdir="))?;
    Some(unescape(value))
}

/// The type of the file system that is our root, as `overlay`.
pub(super) fn root_type(mountinfo: &str) -> Option<&str> {
    root_mount(mountinfo).map(|mount| mount.kind)
}

struct MountLine<'a> {
    root: &'a str,
    place: &'a str,
    kind: &'a str,
    super_options: &'a str,
}

/// See proc(5): `ID PARENT MAJOR:MINOR ROOT PLACE OPTIONS [TAGS] - TYPE SOURCE SUPER_OPTIONS`.
fn mounts(text: &str) -> impl Iterator<Item = MountLine<'_>> {
    text.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, place) = (mount.next()?, mount.next()?);
        let mut file_system = file_system.split(' ');
        let kind = file_system.next()?;
        Some(MountLine { root, place, kind, super_options: file_system.nth(1).unwrap_or_default() })
    })
}

/// The last one is on top of the others.
fn root_mount(text: &str) -> Option<MountLine<'_>> {
    mounts(text).filter(|mount| mount.root == "/" && mount.place == "/").last()
}

/// The kernel writes spaces, commas, backslashes and line ends as `\` and three octal digits.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let octal = behind.get(..3).filter(|_| first == b'\\');
        let code = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        let (byte, length) = code.map_or((first, 1), |byte| (byte, 4));
        bytes.push(byte);
        rest = &rest[length..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn unique<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for id in ids {
        if seen.iter().all(|known| known != id) {
            seen.push(id.to_owned());
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a7988";
    const OTHER: &str = "aaaabbbbccccddddaaaabbbbccccddddaaaabbbbccccddddaaaabbbbccccdddd";

    #[test]
    fn cgroups() {
        for (text, ids) in [
            // Version 1, the default parent: every controller has the same path.
            (
                format!(
                    "12:memory:/docker/{OWN}\n1:name=systemd:/docker/{OWN}\n0::/system.slice/containerd.service\n"
                ),
                vec![OWN],
            ),
            // --cgroup-parent /ci
            (format!("4:cpu,cpuacct:/ci/{OWN}\n"), vec![OWN]),
            // Version 1 with a private namespace, and version 2, whose default is a private one.
            ("4:cpu:/\n0::/\n".to_owned(), vec![]),
            ("0::/\n".to_owned(), vec![]),
            // Version 2 with --cgroupns host.
            (format!("0::/docker/{OWN}\n"), vec![OWN]),
            (format!("0::/system.slice/docker-{OWN}.scope\n"), vec![OWN]),
            // An engine in a container.
            (format!("4:cpu:/docker/{OTHER}/docker/{OWN}\n"), vec![OWN]),
            (format!("0::/docker/{OWN}/init\n"), vec![OWN]),
            // Podman.
            (format!("0::/libpod_parent/libpod-{OWN}\n"), vec![OWN]),
            (format!("0::/machine.slice/libpod-{OWN}.scope/container\n"), vec![OWN]),
            // Kubernetes: not of Docker, but whether the engine knows it is the engine's to say.
            (format!("0::/kubepods.slice/pod12/cri-containerd-{OWN}.scope\n"), vec![OWN]),
            // No container.
            ("0::/user.slice/user-1000.slice/session-1.scope\n".to_owned(), vec![]),
            (format!("0::/docker/ab{OWN}\n"), vec![]),
            (String::new(), vec![]),
        ] {
            assert_eq!(from_cgroup(&text), ids, "{text}");
        }
    }

    fn line(root: &str, place: &str) -> String {
        format!("800 790 254:0 {root} {place} rw,relatime master:1 - ext4 /dev/vda rw\n")
    }

    #[test]
    fn mounts_of_the_engine() {
        let files = |id: &str| {
            ["resolv.conf", "hostname", "hosts"]
                .map(|name| line(&format!("/var/lib/docker/containers/{id}/{name}"), &format!("/etc/{name}")))
        };
        assert_eq!(from_mountinfo(&files(OWN).concat()), [OWN]);
        // --network container:OTHER: all three are OTHER's.
        assert_eq!(from_mountinfo(&files(OTHER).concat()), [OTHER]);
        // The data root on a file system of its own, so that paths begin there.
        assert_eq!(from_mountinfo(&line(&format!("/containers/{OWN}/hosts"), "/etc/hosts")), [OWN]);
        assert_eq!(from_mountinfo(&line(&format!("/data/x/containers/{OWN}/hosts"), "/etc/hosts")), [OWN]);
        // The files are the user's own mounts.
        assert!(from_mountinfo(&line("/home/me/hosts", "/etc/hosts")).is_empty());
        assert!(from_mountinfo(&line(&format!("/containers/{OWN}/config.v2.json"), "/x")).is_empty());
        assert!(from_mountinfo("garbage\n").is_empty());
    }

    #[test]
    fn mounts_of_podman() {
        let file =
            |id: &str, name: &str| format!("/containers/storage/overlay-containers/{id}/userdata/{name}");
        // With --network container:OTHER the network's files are OTHER's, .containerenv is not.
        let text = [
            line(&file(OTHER, "hosts"), "/etc/hosts"),
            line(&file(OTHER, "hostname"), "/etc/hostname"),
            line(&file(OWN, ".containerenv"), "/run/.containerenv"),
        ];
        assert_eq!(from_mountinfo(&text.concat()), [OWN, OTHER]);
    }

    #[test]
    fn host_names() {
        assert_eq!(from_hostname("1f2e3d4c5b6a").as_deref(), Some("1f2e3d4c5b6a"));
        for name in ["build-host", "1F2E3D4C5B6A", "1f2e3d4c5b6", "1f2e3d4c5b6a7"] {
            assert_eq!(from_hostname(name), None, "{name}");
        }
    }

    #[test]
    fn the_root_mount() {
        let overlay = "612 500 0:50 / / rw,relatime master:287 - overlay overlay rw,lowerdir=/l1:/l2,upperdir=/data\\040root/overlay2/ab/diff,workdir=/w\n";
        let text =
            format!("1 0 0:1 / / ro - rootfs rootfs rw\n{overlay}613 612 0:53 / /proc rw - proc proc rw\n");
        assert_eq!(upper_directory(&text).as_deref(), Some("/data root/overlay2/ab/diff"));
        assert_eq!(root_type(&text), Some("overlay"));
        // The vfs driver, and a host.
        let ext4 = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n";
        assert_eq!((upper_directory(ext4), root_type(ext4)), (None, Some("ext4")));
        let fuse = "22 1 0:44 / / rw - fuse.fuse-overlayfs fuse-overlayfs rw,user_id=0\n";
        assert_eq!(upper_directory(fuse), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "(.|\n| - |/docker/|[0-9a-f]{64}|upperdir=|\\\\[0-7]{0,4}| / / ){0,30}") {
            from_cgroup(&text);
            from_mountinfo(&text);
            from_hostname(&text);
            upper_directory(&text);
        }
    }
}
