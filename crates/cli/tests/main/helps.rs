//! What a newcomer meets: help, versions, completions.

use crate::world::World;

const COMMANDS: [&str; 11] =
    ["serve", "check", "setup", "get", "mget", "fence", "explain", "tail", "map", "demo", "completions"];

#[test]
fn help_names_the_commands_and_the_exit_codes() {
    let world = World::bare();
    let help = world.candor(&["--help"]).expect(0);
    for command in COMMANDS {
        assert!(help.out.contains(&format!("\n  {command} ")), "{command}: {}", help.out);
    }
    let help = help.says(&["First steps:", "Exit codes:", "70  a fault", "CANDOR_CONFIG"]);
    assert!(help.out.lines().all(|line| line.chars().count() <= 110), "{}", help.out);
    for command in COMMANDS {
        let help = world.candor(&[command, "--help"]).expect(0);
        assert!(help.out.contains("Usage: candor") && help.out.contains("--json"), "{command}");
        assert!(
            command == "demo" || help.out.contains("Examples:") || help.out.contains("Then:"),
            "{command}"
        );
    }
    world.candor(&["--version"]).expect(0).says(&["candor 0."]);
    world.candor(&[]).expect(2);
}

#[test]
fn mistakes_in_arguments_are_json_too_if_asked_for() {
    let error = World::bare().candor(&["gett", "--json"]).expect(2).json();
    assert_eq!(error["error"]["kind"], "usage");
    assert!(error["error"]["what"].as_str().unwrap().contains("gett"), "{error}");
}

#[test]
fn every_shell_gets_a_script() {
    let world = World::bare();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.candor(&["completions", shell]).expect(0);
        assert!(script.out.contains("mget") && script.out.len() > 1000, "{shell}");
    }
}
