//! Looks at a queue.

use crate::world::{World, name};

#[test]
fn a_task_is_seen_with_what_its_file_says() {
    let world = World::new();
    world.put("inbox/a.md", "---\npriority: 5\nafter: b\n---\n# Fix the login\n");
    let view = world.look();
    let task = view.inbox.get(&name("a.md")).expect("the task");
    assert_eq!(task.identity, world.identity("inbox/a.md"));
    let header = task.header.as_ref().expect("a header");
    assert_eq!((header.priority, header.title.as_str(), &header.after), (Some(5), "Fix the login", &vec![name("b.md")]));
}
